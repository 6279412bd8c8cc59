"""The report in Markdown and HTML, its charts, and tables for pandas."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

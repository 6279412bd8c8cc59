"""The report in Markdown and HTML, its charts, and tables for pandas."""

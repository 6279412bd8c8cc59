"""The commands of `exme`, by what they are for; `search/cli.py` puts them together."""

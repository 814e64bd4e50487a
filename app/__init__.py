"""Live Memory: the working memory that AI agents share."""

__version__ = "0.1.0"

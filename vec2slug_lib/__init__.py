"""Turn text embeddings into URL slugs: the library under the book."""

__version__ = "0.1.0"

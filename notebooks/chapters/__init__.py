"""Code that serves one or few chapters of the book."""

"""TODO embedding."""

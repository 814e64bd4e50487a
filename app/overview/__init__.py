"""A space seen whole."""

"""Conditions over the books -> notices."""

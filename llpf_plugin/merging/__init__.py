"""Merging two or more models."""

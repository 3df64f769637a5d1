"""Pictures and tables of measured paths."""

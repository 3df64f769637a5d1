"""Symmetries of a traced network, and matching one network's units with another's."""

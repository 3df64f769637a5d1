"""Malformed checkpoints, run folders, documents and tasks, made from a seed; each is met by a process of its own."""

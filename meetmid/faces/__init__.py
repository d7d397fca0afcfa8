"""Faces: detection, alignment, crops."""

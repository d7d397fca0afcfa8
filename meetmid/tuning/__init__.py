"""Choosing a configuration for one's own matcher and camera."""

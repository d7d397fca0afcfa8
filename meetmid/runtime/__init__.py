"""Models, sessions, devices, the doctor."""

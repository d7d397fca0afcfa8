"""The probe side: blur levels and super-resolution."""

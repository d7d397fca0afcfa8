"""How commands name the tiny matcher."""

MODEL = ["--matcher", "small", "--centering", "set", "--faces", "crop", "-q", "--device", "cpu"]

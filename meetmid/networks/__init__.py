"""PyTorch definitions, used only to train and to export; nothing else in the library imports this room."""

"""The contest's programs in PyTorch."""

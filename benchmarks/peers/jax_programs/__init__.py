"""The contest's programs in JAX."""

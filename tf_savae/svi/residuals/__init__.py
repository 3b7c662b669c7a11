"""Residuals that refinement steps keep for Hessian-vector products, and their memory."""

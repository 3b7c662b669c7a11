"""What refinement steps keep for their Hessian-vector products, and how much of it fits."""

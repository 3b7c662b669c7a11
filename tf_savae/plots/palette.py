"""Colours and labels of the systems in all plots; SA-VAE has the most prominent colour."""

__all__ = ["MAIN", "NEUTRAL", "SECOND", "SYSTEM_COLOURS", "SYSTEM_LABELS"]

SYSTEM_COLOURS = {
    "savae": "#c8102e",
    "vae": "#4a7ebb",
    "svi": "#e3a008",
    "vae_svi": "#4f9d69",
    "vae_svi_exact": "#e07b39",
    "vae_svi_kl": "#8d6cab",
    "autoregressive": "#7b8490",
}
SYSTEM_LABELS = {
    "savae": "SA-VAE",
    "vae": "VAE",
    "svi": "SVI",
    "vae_svi": "VAE + SVI",
    "vae_svi_exact": "VAE + SVI, theta exact",
    "vae_svi_kl": "VAE + SVI + KL",
    "autoregressive": "no latent variables",
}
# Colours in plots of one model: the main result, its comparison, and context.
MAIN, SECOND, NEUTRAL = "#0f6e78", "#b45309", "#9aa3ad"

"""A constructor for each recipe, which returns model and objective without a run: ``EAE((1, 32, 32))``.

Each function is short for ``configure(recipe, preset, changes).build(shape)``, which accepts all settings.
"""

from entropic_ae.recipes.constructors.conditional import CBNAE, CEAE, CVAE
from entropic_ae.recipes.constructors.entropic import BNAE, EAE, TBNAE, TEAE, EAELinear, TwoStageEAE
from entropic_ae.recipes.constructors.quantised import QAE, QEAE
from entropic_ae.recipes.constructors.regularised import AE, AEL2, RAE, RAEGP, RAEL2, RAESN
from entropic_ae.recipes.constructors.variational import CVVAE, VAE, WAE, TwoStageVAE

__all__ = [
    "AE",
    "AEL2",
    "BNAE",
    "CBNAE",
    "CEAE",
    "CVAE",
    "CVVAE",
    "EAE",
    "QAE",
    "QEAE",
    "RAE",
    "RAEGP",
    "RAEL2",
    "RAESN",
    "TBNAE",
    "TEAE",
    "VAE",
    "WAE",
    "EAELinear",
    "TwoStageEAE",
    "TwoStageVAE",
]

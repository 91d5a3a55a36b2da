"""Stub."""
import json
from pydantic import BaseModel, ConfigDict
from catenary.data.labels import LabelSet
from catenary.recipe import Recipe
class Card(BaseModel):
    """Card."""
    model_config = ConfigDict(frozen=True, extra="forbid")
    format_version: int = 1
    recipe: Recipe
    labels: LabelSet
    channels: int
    dtype: str = "uint8"
    thresholds: tuple[float, ...] = ()
    scores: dict[str, float] = {}
    share_errors: dict[str, float] = {}
    fingerprint: dict = {}
    provenance: dict = {}
def save_model(path, state, card):
    """S."""
    from safetensors.numpy import save_file
    save_file(dict(state), str(path), metadata={"catenary": card.model_dump_json()})

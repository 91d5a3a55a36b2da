"""Stub."""
from dataclasses import dataclass
import numpy as np
from catenary.predict.card import Card
@dataclass
class Prediction:
    mask: object
    probability: object
    regions: object = None
class Predictor:
    """Stub."""
    def __init__(self, card, module): self.card, self.module = card, module
    def __call__(self, image):
        import torch, cv2
        from catenary.predict.prepare import Normaliser, resize_image, working_shape
        shape = working_shape(image.shape, self.card.recipe.prepare.size)
        a = resize_image(image.array, shape); s, o, _, _ = Normaliser.from_config(self.card.recipe.prepare).coefficients(a)
        x = torch.from_numpy(a.astype(np.float32) * s[:, None, None] + o[:, None, None])[None].contiguous(memory_format=torch.channels_last)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16): l = self.module(x).float()[0]
        ex = self.card.labels.task == "exclusive"
        p = (l.softmax(0) if ex else l.sigmoid()).numpy()
        p = np.stack([cv2.resize(c, image.shape[::-1], interpolation=cv2.INTER_LINEAR) for c in p])
        t = self.card.thresholds or (0.5,) * len(p)
        m = p.argmax(0).astype(np.uint8) if ex else (p[0] > t[0]).astype(np.uint8)
        return Prediction(m, p)
def open_predictor(path, *, engine="auto", tta=False, overlap=None):
    import torch
    from safetensors import safe_open
    from catenary.models import build
    path = path / "model.safetensors" if path.is_dir() else path
    with safe_open(str(path), framework="pt") as f:
        card = Card.model_validate_json(f.metadata()["catenary"]); sd = {k: f.get_tensor(k) for k in f.keys()}
    m = build(**card.recipe.model.model_dump()).to(memory_format=torch.channels_last); m.load_state_dict(sd)
    return Predictor(card, m.eval())
def predict_files(*a, **k): return []

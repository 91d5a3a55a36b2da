"""Time and memory of every named network, beside the same network of MONAI and segmentation_models_pytorch.

    python benchmarks/networks.py [--only ROW ...] [--batch 2] [--rounds 3] [--peers FOLDER] [--processor]

One forward pass without gradients and one training step (forward, Dice + BCE, backward, Adam) at 256x256 (64x64x64 in
3D), fp32 on the CPU, eager on both sides. Each side runs in a process of its own, in turn with the other, `--rounds`
times; the shortest times count. Memory is the peak of the process above what it held before the network was built.
With `--processor` seconds are those that the processor worked (of all threads together), which other work on the
machine lengthens less than those of the clock: for one thread on one core.
FOLDER is where MONAI was installed (``pip install --target FOLDER --no-deps monai``) when it is not in the environment.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

REPEATS = 2
ACT = ("relu", {"inplace": True})
BATCH_NORM = ("batch", {})


def monai_unet():
    from monai.networks.nets import BasicUNet

    return BasicUNet(2, 3, 1, features=(64, 128, 256, 512, 1024, 64), act=ACT, norm=BATCH_NORM)


def monai_unetpp():
    from monai.networks.nets import BasicUNetPlusPlus

    return BasicUNetPlusPlus(2, 3, 1, features=(32, 64, 128, 256, 512, 32), act=ACT, norm=BATCH_NORM)


def monai_attention():
    from monai.networks.nets import AttentionUnet

    return AttentionUnet(2, 3, 1, channels=(64, 128, 256, 512, 1024), strides=(2, 2, 2, 2))


def monai_vnet():
    from monai.networks.nets import VNet

    return VNet(3, 1, 1, act=("prelu", {}))


def smp_unet(encoder):
    def make():
        import segmentation_models_pytorch as smp

        return smp.Unet(encoder, encoder_weights=None)

    return make


def smp_unetpp():
    import segmentation_models_pytorch as smp

    return smp.UnetPlusPlus("resnet34", encoder_weights=None)


#: Row -> (name and settings of ours, the peer's name and maker); a peer has the same form, or the row says "near".
ROWS = {
    "unet, batch norm": (("unet", {"norm": "batch"}), ("MONAI BasicUNet", monai_unet)),
    "unetpp, batch norm": (("unetpp", {"norm": "batch"}), ("MONAI BasicUNetPlusPlus", monai_unetpp)),
    "attention_unet, transposed up": (
        ("attention_unet", {"up": "transpose"}),
        ("MONAI AttentionUnet (near)", monai_attention),
    ),
    "vnet": (("vnet", {}), ("MONAI VNet", monai_vnet)),
    "encoder_unet": (("encoder_unet", {}), ("smp Unet resnet34", smp_unet("resnet34"))),
    "encoder_unet, nested": (("encoder_unet", {"topology": "nested"}), ("smp UnetPlusPlus resnet34", smp_unetpp)),
    "resnet50_unet": (("resnet50_unet", {}), ("smp Unet resnet50", smp_unet("resnet50"))),
    "encoder_unet, vgg16_bn": (
        ("encoder_unet", {"encoder": "vgg16_bn"}),
        ("smp Unet vgg16_bn (near)", smp_unet("vgg16_bn")),
    ),
    "encoder_unet, mobilenetv2_100": (
        ("encoder_unet", {"encoder": "mobilenetv2_100"}),
        ("smp Unet mobilenet_v2 (near)", smp_unet("mobilenet_v2")),
    ),
    "encoder_unet, tf_efficientnet_b4": (
        ("encoder_unet", {"encoder": "tf_efficientnet_b4"}),
        ("smp Unet efficientnet-b4 (near)", smp_unet("efficientnet-b4")),
    ),
}


def rows():
    """`ROWS`, and every named network that none of them runs as it is, alone."""
    from catenary.models import MODELS

    plain = {name for (name, settings), _ in ROWS.values() if not settings}
    return ROWS | {name: ((name, {}), None) for name in MODELS if name not in plain}


def measure(row, side, batch, clock):
    """Times and memory of one side, in this process, as JSON."""
    import psutil
    import torch

    from catenary.models import build

    (name, settings), peer = rows()[row]
    before = psutil.Process().memory_info().rss
    torch.manual_seed(0)
    channels = 1 if row == "vnet" else 3  # MONAI's takes divisors of 16 only
    network = build(name, channels=channels, **settings) if side == "ours" else peer[1]()
    volume = any(isinstance(module, torch.nn.Conv3d) for module in network.modules())
    x = torch.randn((1, channels, 64, 64, 64) if volume else (batch, channels, 256, 256))
    optimizer = torch.optim.Adam(network.parameters())
    found = {"parameters": sum(p.numel() for p in network.parameters()), "forward": [], "step": []}

    def forward():
        with torch.inference_mode():
            network.eval()(x)

    def step():
        answer = network.train()(x)
        answer = answer[0] if isinstance(answer, list | tuple) else answer
        target = (x[:, :1] > 0).float()
        p = answer.sigmoid()
        dice = 1 - (2 * (p * target).sum() + 1) / (p.sum() + target.sum() + 1)
        loss = dice + torch.nn.functional.binary_cross_entropy_with_logits(answer, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    for key, act in (("forward", forward), ("step", step)):
        act()
        for _ in range(REPEATS):
            start = clock()
            act()
            found[key].append(clock() - start)
        found[key] = min(found[key])
        found[f"{key} peak"] = (peak() - before) / 2**30
    print(json.dumps(found))


def apart(row, side):
    """What `measure` finds in a process of its own, whose errors are shown as they come."""
    line = [sys.executable, *sys.argv, "--side", row, side]
    done = subprocess.run(line, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        why = "killed, mostly for want of memory" if done.returncode == -9 else "its error stands above"
        raise SystemExit(f"{row}, {side}: ended with status {done.returncode} ({why})")
    return json.loads(done.stdout)


def peak():
    """Largest resident size of this process in bytes (Linux)."""
    line = next(text for text in Path("/proc/self/status").read_text().splitlines() if text.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", help="these rows")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--processor", action="store_true", help="seconds of the processor, not of the clock")
    parser.add_argument("--side", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.peers:
        sys.path.append(str(given.peers))
    if given.side:
        return measure(*given.side, given.batch, time.process_time if given.processor else time.perf_counter)
    print("| network | peer | parameters, M | forward, s | ratio | step, s | ratio | peak forward / step, GB | ratio |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    for row, (_, peer) in rows().items():
        if given.only and row not in given.only:
            continue
        sides = ("ours", "peer") if peer else ("ours",)
        runs = {side: [] for side in sides}
        for _ in range(given.rounds):
            for side in sides:
                runs[side].append(apart(row, side))
        best = {side: {key: min(run[key] for run in found) for key in found[0]} for side, found in runs.items()}
        ours = best["ours"]

        def ratio(key, best=best):
            return f"{best['ours'][key] / best['peer'][key]:.2f}" if "peer" in best else ""

        parameters = " / ".join(f"{one['parameters'] / 1e6:.2f}" for one in best.values())
        print(
            f"| {row} | {peer[0] if peer else ''} | {parameters} | {ours['forward']:.2f} | {ratio('forward')} | "
            f"{ours['step']:.2f} | {ratio('step')} | {ours['forward peak']:.2f} / {ours['step peak']:.2f} | "
            f"{ratio('forward peak')} / {ratio('step peak')} |",
            flush=True,
        )
    return None


if __name__ == "__main__":
    main()

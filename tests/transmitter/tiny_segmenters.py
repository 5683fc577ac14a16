"""Segmenters of the real architectures, random and tiny, in the hub's format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers


def _save(folder: Path, processor: Any, network: type, config: Any) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def save_segformer(folder: Path) -> Path:
    """Classes "wall" and "car"."""
    config = transformers.SegformerConfig(
        hidden_sizes=[8, 16, 16, 16],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=16,
        id2label={0: "wall", 1: "car "},
        label2id={"wall": 0, "car ": 1},
    )
    network = transformers.SegformerForSemanticSegmentation
    return _save(folder, transformers.SegformerImageProcessor(), network, config)


def save_mask2former(folder: Path) -> Path:
    """Five queries, two classes, a Swin backbone of one block a stage."""
    backbone = transformers.SwinConfig(
        image_size=64,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = transformers.Mask2FormerConfig(
        backbone_config=backbone,
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=16,
        dim_feedforward=16,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=2,
        num_queries=5,
        num_labels=2,
        train_num_points=256,
    )
    network = transformers.Mask2FormerForUniversalSegmentation
    return _save(folder, transformers.Mask2FormerImageProcessor(), network, config)


def save_sam2(folder: Path) -> Path:
    """Pictures of 128 x 128."""
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 8,
        "num_attention_heads": 1,
        "image_size": [128, 128],
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [8, 16, 24, 32],
        "num_attention_heads_per_stage": [1, 1, 2, 2],
        "window_size_per_stage": [4, 4, 4, 4],
        "global_attention_blocks": [3],
    }
    config = transformers.Sam2Config(
        vision_config={
            "backbone_config": backbone,
            "backbone_channel_list": [32, 24, 16, 8],
            "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
            "fpn_hidden_size": 16,
        },
        prompt_encoder_config={
            "hidden_size": 16,
            "image_size": 128,
            "patch_size": 16,
            "mask_input_channels": 4,
        },
        mask_decoder_config={
            "hidden_size": 16,
            "mlp_dim": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
    )
    processor = transformers.Sam2ImageProcessor(size={"height": 128, "width": 128})
    return _save(folder, processor, transformers.Sam2Model, config)

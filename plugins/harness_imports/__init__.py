"""Importers and exporters of published checkpoints.

Builds on harness_architectures, harness_biogpt, harness_genome, harness_ndna and harness_controls, whose networks,
genome and method ``stored_mask`` it fills in.
"""

from __future__ import annotations

from harness import Entry, hookimpl


@hookimpl
def harness_register_importers() -> list[Entry]:
    """What reads the files of others."""
    return [
        Entry("gpt2_hf", "harness_imports.gpt2_hf:Gpt2Hf", "a GPT-2 of transformers: a folder, .safetensors or .bin"),
        Entry("ndna_gpt2", "harness_imports.ndna_gpt2:NdnaGpt2", "the published GPT-2 of Neural DNA, with its genome"),
        Entry("ndna_cnn", "harness_imports.ndna_networks:NdnaCnn", "Neural DNA's published network for CIFAR"),
        Entry("ndna_transformer", "harness_imports.ndna_networks:NdnaTransformer", "the same for IMDB"),
        Entry("ndna_genome", "harness_imports.ndna_genome:NdnaGenome", "a pre-trained genome alone, without weights"),
        Entry("biogpt", "harness_imports.biogpt:BiogptCheckpoint", "the published BioGPT"),
        Entry("connectome", "harness_imports.connectome:ConnectomeImporter", "the published model connectomes"),
    ]


@hookimpl
def harness_register_exporters() -> list[Entry]:
    """What writes files for others."""
    return [
        Entry("hf", "harness_imports.hf:HfExporter", "gpt2 and hf as transformers saves them: from_pretrained reads it")
    ]

"""Conformance checks that plugin authors call in their tests.

Each raises AssertionError with a text that says what is wrong; data that is not on this machine raises
DataMissing. They take about a second and train nothing of note.
"""

from harness.testing.architectures import check_architecture as check_architecture
from harness.testing.benchmarks import check_benchmark as check_benchmark
from harness.testing.methods import check_method as check_method

"""Other processors, emulated by qemu: x86-64 without VNNI, and aarch64. A bare session, few texts."""

from tests.interop.consumers import FROM_1_16, FROM_1_22, Consumer
from tests.interop.environments import DebianPackages
from tests.interop.python_consumers import NEWEST

# version 7.2, of bookworm itself, computes SME instructions wrongly
QEMU = DebianPackages(name="qemu", packages=("qemu-user",), architecture="amd64", suite="bookworm-backports")
ARM64 = DebianPackages(
    name="arm64",
    packages=("python3.11", "libstdc++6"),
    architecture="arm64",
    suite="bookworm",
    with_dependencies=True,
    wheels=NEWEST.packages,
    platforms=("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64"),
)
NUM_TEXTS = 12  # a text takes seconds
EMULATED = {"is_emulated": True}


def _aarch64(processor: str, features: str) -> Consumer:
    return Consumer(
        name=f"aarch64 with {features}",
        environment=ARM64,
        further=(QEMU,),
        driver="onnxruntime_session.py",
        command=(
            *(
                "{qemu}/usr/bin/qemu-aarch64",
                "-cpu",
                processor,
                "-L",
                "{arm64}",
                "-E",
                "PYTHONPATH={arm64}/site-packages",
            ),
            *("{arm64}/usr/bin/python3.11", "{driver}"),
        ),
        promised=FROM_1_22,
        options=EMULATED,
        num_texts=NUM_TEXTS,
        note=f"qemu's `{processor}`, {NUM_TEXTS} texts, not in batches.",
    )


CONSUMERS = (
    Consumer(
        name="x86-64 without VNNI",
        environment=NEWEST,
        further=(QEMU,),
        driver="onnxruntime_session.py",
        command=("{qemu}/usr/bin/qemu-x86_64", "-cpu", "Haswell", "{environment}/bin/python", "{driver}"),
        promised=FROM_1_16,
        max_logit_shift=0.01,
        options=EMULATED,
        num_texts=NUM_TEXTS,
        note=f"qemu's `Haswell`, {NUM_TEXTS} texts, not in batches; no session option.",
    ),
    _aarch64("neoverse-n1", "dot products"),
    _aarch64("max", "i8mm and SME"),
)

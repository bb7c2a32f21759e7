import shutil
from dataclasses import replace

from bench.analysis.provenance import digests
from bench.timing.systems import Workload, contenders_at


def test_digests_depend_only_on_weights_texts_and_labels(teacher_folder, tmp_path):
    copy = shutil.copytree(teacher_folder, tmp_path / "copy")
    (copy / "notes.txt").write_text("not part of the model")
    workload = Workload(texts=["a", "b"], labels=[0, 1])
    (one,), (other,) = contenders_at(teacher_folder, label="one"), contenders_at(copy, label="other")
    original = digests([one, other], workload)
    assert original.models[0] == original.models[1] and len(original.texts) == len(original.code) == 64
    weights = copy / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with_other_weight = digests([one, other], replace(workload, grid=()))
    assert with_other_weight.models[1] != with_other_weight.models[0] == original.models[0]
    assert with_other_weight.texts == original.texts and with_other_weight.code == original.code
    for changed_workload in (replace(workload, texts=["a", "c"]), replace(workload, labels=[1, 1])):
        assert digests([one], changed_workload).texts != original.texts

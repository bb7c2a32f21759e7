import shutil
from dataclasses import replace

from bench.analysis.provenance import digests
from bench.timing.systems import Workload, contenders_at


def test_digests_change_with_a_weight_a_text_or_a_label_and_with_nothing_else(teacher_folder, tmp_path):
    copy = shutil.copytree(teacher_folder, tmp_path / "copy")
    (copy / "notes.txt").write_text("no part of the model")
    workload = Workload(texts=["a", "b"], labels=[0, 1])
    (one,), (other,) = contenders_at(teacher_folder, label="one"), contenders_at(copy, label="other")
    found = digests([one, other], workload)
    assert found.models[0] == found.models[1] and len(found.texts) == len(found.code) == 64
    weights = copy / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    again = digests([one, other], replace(workload, grid=()))
    assert again.models[1] != again.models[0] == found.models[0]
    assert again.texts == found.texts and again.code == found.code
    for changed in (replace(workload, texts=["a", "c"]), replace(workload, labels=[1, 1])):
        assert digests([one], changed).texts != found.texts

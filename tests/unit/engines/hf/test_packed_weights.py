"""Weights laid out anew for the processor: the same figures, and a way back."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from nudging.engines.hf import ragged_probe  # noqa: E402
from nudging.engines.hf.hf_runtime import HfRuntime  # noqa: E402
from nudging.engines.hf.packed_weights import PackedLinear, pack, unpack  # noqa: E402
from nudging.engines.local.runtime import SlotInput  # noqa: E402
from tests.tiny import byte_level, gpt2, lfm, llama, made  # noqa: E402

pytestmark = [pytest.mark.hf, pytest.mark.usefixtures("one_thread")]

IDS = torch.tensor([[5, 200, 31, 7, 7, 90, 260, 12, 44]])


@pytest.fixture(autouse=True)
def onednn() -> None:
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this torch has no oneDNN")


def layers(model: Any) -> list[Any]:
    return [each for each in model.modules() if isinstance(each, torch.nn.Linear)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_packed_model_computes_what_it_did_and_can_be_unpacked(dtype: Any) -> None:
    if dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this processor has no bfloat16")
    model = made(llama, byte_level()).to(dtype)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    with torch.inference_mode():
        wanted = model(IDS).logits
        assert pack(model)
        assert all(isinstance(each, PackedLinear) for each in layers(model))
        found = model(IDS).logits
    most = 1e-5 if dtype == torch.float32 else 0.02
    assert (found.float() - wanted.float()).abs().max() <= most * wanted.float().abs().max()
    unpack(model)
    assert all(type(each) is torch.nn.Linear for each in layers(model))
    for name, weight in model.named_parameters():
        assert torch.equal(weight, before[name])
    with torch.inference_mode():
        assert torch.equal(model(IDS).logits, wanted)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(7, 24), (0, 24), (2, 3, 24), (1, 24)])
def test_a_layer_takes_inputs_of_any_shape(shape: tuple[int, ...], bias: bool) -> None:
    plain = torch.nn.Sequential(torch.nn.Linear(24, 40, bias=bias))
    given = torch.randn(shape)
    with torch.inference_mode():
        wanted = plain(given)
        assert pack(plain)
        torch.testing.assert_close(plain(given), wanted, atol=1e-5, rtol=0)


def test_other_layers_are_left_alone() -> None:
    own = type("Own", (torch.nn.Linear,), {})

    wrapped = torch.nn.Linear(4, 4)
    wrapped.forward = wrapped.forward  # as libraries wrap one
    model = torch.nn.Sequential(
        own(4, 4), wrapped, torch.nn.Linear(4, 4, dtype=torch.float64), torch.nn.Embedding(4, 4)
    )
    assert not pack(model)
    assert not any(isinstance(each, PackedLinear) for each in model)


@pytest.mark.parametrize("config", [llama, gpt2, lfm])
def test_an_opened_model_is_packed_where_it_can_be(config: object) -> None:
    model = made(config, byte_level())  # type: ignore[arg-type]
    HfRuntime(model, byte_level(), n_ctx=64)
    assert any(isinstance(each, PackedLinear) for each in layers(model))


@pytest.mark.parametrize("fault", ["differs", "raises"])
def test_a_model_that_does_not_bear_it_is_as_it_was(
    monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    inner = PackedLinear.forward

    def forward(self: PackedLinear, given: Any) -> Any:
        if fault == "raises":
            raise RuntimeError("weights that can't be looked at")
        return inner(self, given) + 1

    with torch.inference_mode():
        wanted = made(llama, byte_level())(IDS).logits[0, -1:]
    monkeypatch.setattr(PackedLinear, "forward", forward)
    model = made(llama, byte_level())
    runtime = HfRuntime(model, byte_level(), n_ctx=64)
    assert not any(isinstance(each, PackedLinear) for each in layers(model))
    assert not runtime.notes
    found = runtime.forward_many([SlotInput(0, IDS[0].tolist(), 1)])[0]
    assert ragged_probe._gap(found.logits, wanted) < 1e-4

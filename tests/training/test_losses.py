import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vec2slug_lib.model.cpu_ops import token_losses
from vec2slug_lib.model.decoder import Decoder, DecoderConfig
from vec2slug_lib.training.losses import eos_weights, word_loss


def test_eos_weights_worked_by_hand():
    # Ten slugs; <eos> stands at position = length.
    # Rates: position 2: 1/10, 3: 4/10, 4: 2/10, 5: 3/10; median of these 0.25.
    # Weights: 2: 2.5 -> 1; 3: 0.25/0.4 = 0.625; 4: 1.25 -> 1; 5: 0.25/0.3 = 0.8333; others 1.
    lengths = [2, 3, 3, 3, 3, 4, 4, 5, 5, 5]
    np.testing.assert_allclose(eos_weights(lengths, 7), [1, 1, 1, 0.625, 1, 5 / 6, 1], rtol=1e-6)


def test_eos_weights_leave_out_slugs_that_lose_their_end():
    # Cap 4: <eos> of a slug of 4 tokens would be target 4, beyond the last target 3.
    np.testing.assert_allclose(eos_weights([1, 1, 3, 4, 9], 4), [1, 0.75, 1, 1])
    np.testing.assert_allclose(eos_weights([9, 9], 4), [1, 1, 1, 1])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_token_losses_and_their_gradient_equal_torch_s(smoothing):
    logits = torch.randn(7, 13, dtype=torch.float32, requires_grad=True)
    targets, weights = torch.randint(0, 13, (7,)), torch.rand(7)
    plain = F.cross_entropy(logits, targets, reduction="none", label_smoothing=smoothing)
    (wanted,) = torch.autograd.grad((plain * weights).sum(), logits)
    ours = token_losses(logits, targets, smoothing)
    (gradient,) = torch.autograd.grad((ours * weights).sum(), logits)
    torch.testing.assert_close(ours, plain)
    torch.testing.assert_close(gradient, wanted)


def test_the_word_loss_is_the_mean_surprise_of_a_slug_s_subwords():
    torch.manual_seed(0)
    config = DecoderConfig(
        input_dim=6, embed_dim=8, num_heads=2, num_layers=1, vocab_size=12, head_dim=4
    )
    model, vectors = Decoder(config).eval(), torch.randn(2, 6)
    log_p = model.word_logits(vectors).log_softmax(-1)
    # Tokens 0 to 4 are special: 2 is <eos>, 4 a hyphen.
    targets = torch.tensor([[7, 4, 9, 4, 7, 2], [11, 2, 0, 0, 0, 0]])
    wanted = -(2 * log_p[0, 7] + log_p[0, 9]) / 3 - log_p[1, 11]
    torch.testing.assert_close(word_loss(model, vectors, targets), wanted)

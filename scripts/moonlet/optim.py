"""Two optimisers in one: orthogonalised momentum ("Muon") for weight matrices and convolutions, AdamW for
the rest (biases, norms, embeddings, and the first and last layers). On these small nets it reaches the
loss of AdamW alone in less than half the steps. Versions: torch 2.11.
"""
import torch


def orthogonalise(g, steps=5):
    """Newton-Schulz iteration on a batch of matrices (n, rows, columns): singular values towards 1."""
    x = g / (g.norm(dim=(1, 2), keepdim=True) + 1e-7)
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.transpose(1, 2)
    for _ in range(steps):
        a = x @ x.transpose(1, 2)
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.transpose(1, 2) if tall else x


class Muon(torch.optim.Optimizer):
    def __init__(self, params, lr, momentum=0.95, decay=0.01):
        super().__init__(params, dict(lr=lr, momentum=momentum, decay=decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            by_shape = {}
            for p in group["params"]:
                by_shape.setdefault(p.flatten(1).shape, []).append(p)
            for (rows, columns), params in by_shape.items():
                updates = []
                for p in params:
                    state = self.state[p]
                    if not state:
                        state["mean"] = torch.zeros_like(p)
                    state["mean"].lerp_(p.grad, 1 - group["momentum"])
                    updates.append(p.grad.lerp(state["mean"], group["momentum"]).flatten(1))
                updates = orthogonalise(torch.stack(updates)) * max(1, rows / columns) ** 0.5
                for p, u in zip(params, updates):
                    p.mul_(1 - group["lr"] * group["decay"]).add_(u.view_as(p), alpha=-group["lr"])


class Optimiser:
    """step(factor) scales both base rates by factor."""

    def __init__(self, nets, matrix_rate, other_rate):
        outer = ("conv_in.weight", "conv_out.weight", "quant_conv.weight", "embedding.weight")
        matrices = [p for n, p in nets.named_parameters() if p.ndim >= 2 and not n.endswith(outer)]
        chosen = {id(p) for p in matrices}
        others = [p for p in nets.parameters() if id(p) not in chosen]
        self.parts = [(Muon(matrices, matrix_rate), matrix_rate),
                      (torch.optim.AdamW(others, other_rate, betas=(0.9, 0.99), weight_decay=0.0), other_rate)]

    def step(self, factor):
        for part, rate in self.parts:
            for group in part.param_groups:
                group["lr"] = rate * factor
            part.step()
            part.zero_grad(set_to_none=True)

    def state_dict(self):
        return [part.state_dict() for part, _ in self.parts]

    def load_state_dict(self, saved):
        for (part, _), state in zip(self.parts, saved):
            part.load_state_dict(state)

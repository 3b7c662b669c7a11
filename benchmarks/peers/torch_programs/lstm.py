"""LSTM loops in PyTorch: one with a hand-written first derivative, one differentiable twice."""

import torch

__all__ = ["fast_lstm", "plain_lstm"]


def plain_lstm(projected, kernel, hidden, cell):
    """Hidden states [T, B, H] from pre-activations [T, B, 4H], by autograd's own operations.

    PyTorch's fused LSTM projects its inputs itself, words and z alike and at every call, and its
    fast kernels have no second derivative. Gates: input, forget, new, out.
    """
    states = []
    for row in projected.unbind(0):
        enter, keep, new, leave = torch.addmm(row, hidden, kernel).chunk(4, dim=1)
        cell = torch.sigmoid(keep) * cell + torch.sigmoid(enter) * torch.tanh(new)
        hidden = torch.sigmoid(leave) * torch.tanh(cell)
        states.append(hidden)
    return torch.stack(states)


def fast_lstm(projected, kernel, hidden, cell):
    """As `plain_lstm`, differentiable once: the kernel's gradient is one product after the loop."""
    return _Lstm.apply(projected, kernel, hidden, cell)


class _Lstm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, projected, kernel, hidden, cell):
        length, batch, width = projected.shape
        units = width // 4
        gates = torch.empty_like(projected)
        states = projected.new_empty(length + 1, batch, units)
        cells = torch.empty_like(states)
        states[0], cells[0] = hidden, cell
        for t in range(length):
            gate = torch.addmm(projected[t], states[t], kernel, out=gates[t])
            gate[:, : 2 * units].sigmoid_()
            gate[:, 2 * units : 3 * units].tanh_()
            gate[:, 3 * units :].sigmoid_()
            enter, keep, new, leave = gate.chunk(4, dim=1)
            torch.mul(keep, cells[t], out=cells[t + 1]).addcmul_(enter, new)
            torch.mul(leave, cells[t + 1].tanh(), out=states[t + 1])
        ctx.save_for_backward(kernel, gates, states, cells)
        return states[1:]

    @staticmethod
    def backward(ctx, upstream):
        kernel, gates, states, cells = ctx.saved_tensors
        bars = torch.empty_like(gates)
        hidden_bar, cell_bar = torch.zeros_like(states[0]), torch.zeros_like(states[0])
        squashed = cells[1:].tanh()
        for t in range(len(gates) - 1, -1, -1):
            hidden_bar = hidden_bar + upstream[t]
            enter, keep, new, leave = gates[t].chunk(4, dim=1)
            in_bar, keep_bar, new_bar, out_bar = bars[t].chunk(4, dim=1)
            cell_bar = cell_bar + hidden_bar * leave * (1.0 - squashed[t] ** 2)
            torch.mul(cell_bar * new, enter * (1.0 - enter), out=in_bar)
            torch.mul(cell_bar * cells[t], keep * (1.0 - keep), out=keep_bar)
            torch.mul(cell_bar * enter, 1.0 - new * new, out=new_bar)
            torch.mul(hidden_bar * squashed[t], leave * (1.0 - leave), out=out_bar)
            cell_bar = cell_bar * keep
            hidden_bar = bars[t] @ kernel.T
        kernel_bar = None
        if ctx.needs_input_grad[1]:
            kernel_bar = states[:-1].flatten(0, 1).T @ bars.flatten(0, 1)
        return bars, kernel_bar, hidden_bar, cell_bar

"""torch 2.13.0: `torch.gather` takes other elements where its index is an int32 tensor that was broadcast.

Met through kgcnn 4.0.2, whose scatter operations broadcast their index: with indexes of 32 bits, gradients of
`scatter_reduce`, which gathers, are those of other rows. Values are right, and so is everything with int64.
"""

import torch

x = torch.tensor([[1.0, 2.0], [10.0, 20.0], [100.0, 200.0]])
for dtype in (torch.int64, torch.int32):
    index = torch.tensor([[0], [1], [1], [2]], dtype=dtype).broadcast_to(4, 2)
    print(f"{dtype}: broadcast {x.gather(0, index).tolist()}, a copy of it {x.gather(0, index.contiguous()).tolist()}")

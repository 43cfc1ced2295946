"""Makes the files of this directory with PyTorch (they were made with 2.7.1): python make.py DIR"""
import collections, pickle, sys
import torch

out = sys.argv[1]
base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
phi = collections.OrderedDict(
    a=base, transposed=base.t(), strided=base[1:3, ::2], row=base[2], scalar=torch.tensor(3.5), half=base.half(),
    bfloat16=base.bfloat16(), double=base.double(), int64=torch.arange(5), int32=torch.arange(5, dtype=torch.int32),
    uint8=torch.arange(5, dtype=torch.uint8), bool=torch.tensor([True, False]), empty=torch.zeros(0, 3),
    parameter=torch.nn.Parameter(base[0].clone()), uint16=torch.arange(3).to(torch.uint16))
torch.save({"epoch": 7, "Phi": phi, "lr": 0.02, "ok": True, "none": None, "list": [1, "x", (2, 3)], "size": base.shape,
            "dtype": torch.float16, 5: "five"}, out + "/mixed.pt")
torch.manual_seed(0)
module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.GELU(), torch.nn.Linear(4, 2))
module.load_state_dict({k: torch.arange(v.numel(), dtype=torch.float32).reshape(v.shape) for k, v in module.state_dict().items()})
torch.save(module.state_dict(), out + "/state_dict.pt")
torch.save(module.state_dict(), out + "/legacy.pt", _use_new_zipfile_serialization=False)
torch.jit.script(module).save(out + "/script.pt")
torch.save(module, out + "/module.pt")
torch.save({"x": base.expand(3, 4, 6)}, out + "/expanded.pt")
value = {"a": ["x", 1, -5, 2**40, -(2**33), 300, 1.5, None, True, (1,), (1, 2), (1, 2, 3, 4), [], ()], "b": {"c": "ü" * 300}}
value["a"].append(value["b"])
for protocol in range(6):
    with open(f"{out}/protocol{protocol}.pkl", "wb") as f:
        pickle.dump(value, f, protocol=protocol)

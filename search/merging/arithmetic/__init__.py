"""How a tensor is merged, in torch or compiled: tensors in, tensor out."""

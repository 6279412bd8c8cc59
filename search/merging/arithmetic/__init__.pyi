from .compiled import kernel as kernel
from .plain import Finite as Finite, Operand as Operand
from .tensor_tables import FactBook as FactBook, TensorFacts as TensorFacts

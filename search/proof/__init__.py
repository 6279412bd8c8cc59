"""Report documents: who is scored there, which use of them it is, and the verdict. Proposes nothing; search documents play no part in it."""

$EPSIM simulate --dispatcher deepep-norml

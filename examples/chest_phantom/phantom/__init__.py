"""Chest-radiograph phantoms: analytic anatomy, simulated scanners, invented patients, written as DICOM."""

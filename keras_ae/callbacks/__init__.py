"""Callbacks for `fit`."""

from keras_ae.callbacks.backup_and_restore import BackupAndRestore as BackupAndRestore
from keras_ae.callbacks.diagnosis import Diagnosis as Diagnosis
from keras_ae.callbacks.pictures import Pictures as Pictures

"""DICOM series for tests."""

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset

ROWS, COLUMNS = 4, 5


def slice_of(index, pixels, *, series="1.2.3.4", **changes):
    """One CT slice as a data set; a change to None deletes."""
    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    file.file_meta.MediaStorageSOPClassUID = file.SOPClassUID = pydicom.uid.CTImageStorage
    file.SOPInstanceUID = file.file_meta.MediaStorageSOPInstanceUID = f"{series}.{index + 1}"
    known = {
        "PatientID": "p", "PatientName": "P^Q", "PatientBirthDate": "19700101", "PatientSex": "O", "StudyID": "1",
        "StudyInstanceUID": "1.2.3", "StudyDate": "20200101", "StudyTime": "101010", "AccessionNumber": "1",
        "ReferringPhysicianName": "", "SeriesInstanceUID": series, "SeriesNumber": 1, "InstanceNumber": index + 1,
        "FrameOfReferenceUID": "1.2.9", "PositionReferenceIndicator": "", "Modality": "CT", "Manufacturer": "",
        "ContentDate": "20200101", "ContentTime": "101010", "AcquisitionNumber": 1, "PatientPosition": "HFS",
        "AcquisitionDate": "20200101", "AcquisitionTime": "101010", "KVP": 100.0,
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], "Rows": ROWS, "Columns": COLUMNS,
        "BitsAllocated": 16, "BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0, "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2", "PixelSpacing": [0.5, 0.75], "SliceThickness": 9.0,
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "ImagePositionPatient": [-10.0, 5.0, 100 + 2.5 * index],
        "RescaleSlope": 1, "RescaleIntercept": -1024, "RescaleType": "HU",
    }  # fmt: skip
    for keyword, value in {**known, **changes}.items():
        if value is not None:
            setattr(file, keyword, value)
    file.PixelData = pixels.astype(np.uint16).tobytes()
    return file


def write_series(folder, scan):
    """A scan in canonical orientation as a series of CT slices, 1 mm apart, its values as they are."""
    folder.mkdir(parents=True)
    for k, pixels in enumerate(scan.array[0]):
        place = {"ImagePositionPatient": [0.0, 0.0, float(k)], "PixelSpacing": [1.0, 1.0], "RescaleIntercept": 0}
        place |= {"Rows": pixels.shape[0], "Columns": pixels.shape[1]}
        slice_of(k, pixels, BitsStored=16, HighBit=15, **place).save_as(
            folder / f"{k:03d}.dcm", enforce_file_format=True
        )

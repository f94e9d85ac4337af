"""`python -m dicom_pipeline`: the command line."""

from dicom_pipeline.cli import main

if __name__ == "__main__":
    main()

"""Write the generated files: ``python -m deploy.monitoring``."""

from deploy.monitoring.generated import render_files

if __name__ == "__main__":
    for path, text in render_files().items():
        path.write_text(text)
        print(f"wrote {path.name}")

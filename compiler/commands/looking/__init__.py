"""The commands of `convc look`, a file each."""

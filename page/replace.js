export async function replacement(e) {}; export async function replacements(e) {}

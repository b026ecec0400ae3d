export async function importFile(element) { element.textContent = 'soon'; }

export async function create(element) { element.textContent = 'soon'; }

package main

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// settings are the values behind the keys of the ConfigMap with the settings. A
// key without a value, or a value without a key, is an error.
var settings = map[string]string{
	"BASE_DOMAIN":            `.Values.baseDomain | quote`,
	"ROUTING":                `.Values.routing | quote`,
	"INGRESS_CLASS":          `.Values.ingress.class | quote`,
	"INGRESS_TLS_SECRET":     `.Values.ingress.tlsSecret | quote`,
	"INGRESS_CLUSTER_ISSUER": `.Values.ingress.clusterIssuer | quote`,
	"TRUSTED_PROXIES":        `join "," .Values.trustedProxies | quote`,

	"OIDC_ISSUER_URL":         `.Values.oidc.issuerURL | quote`,
	"OIDC_CLIENT_ID":          `.Values.oidc.clientID | quote`,
	"OIDC_CLIENT_SECRET_FILE": `.Values.oidc.clientSecretFile | quote`,
	"OIDC_CA_FILE":            `.Values.oidc.caFile | quote`,
	"OIDC_SCOPES":             `join "," .Values.oidc.scopes | quote`,
	"OIDC_USERNAME_CLAIM":     `.Values.oidc.usernameClaim | quote`,
	"OIDC_USERNAME_PREFIX":    `.Values.oidc.usernamePrefix | quote`,
	"OIDC_GROUPS_CLAIM":       `.Values.oidc.groupsClaim | quote`,
	"OIDC_GROUPS_PREFIX":      `.Values.oidc.groupsPrefix | quote`,
	"OIDC_TRUST_PROMPT":       `.Values.oidc.trustPrompt | quote`,

	"SESSION_IDLE":     `.Values.sessions.idle | quote`,
	"SESSION_ABSOLUTE": `.Values.sessions.absolute | quote`,
	"SESSION_RECENT":   `.Values.sessions.recent | quote`,
}

const (
	settingsConfigMap = "latchkey-settings"
	// settingsChecksum restarts pods when a setting changes; kustomize puts a hash
	// into the ConfigMap's name for that.
	settingsChecksum = `list .Values.baseDomain .Values.routing .Values.ingress .Values.trustedProxies .Values.oidc .Values.sessions | toJson | sha256sum | quote`
)

// expressions replaces values by placeholders that survive as YAML, and these by
// template expressions in the text.
type expressions []string

func (e *expressions) add(expression string) string {
	*e = append(*e, expression)
	return fmt.Sprintf("EXPRESSION_%d_", len(*e)-1)
}

var placeholder = regexp.MustCompile(`EXPRESSION_(\d+)_`)

// render writes an object as a template. What looks like a template in it, such as
// an alert's text, is written so that Helm leaves it as it is.
func (e *expressions) render(object map[string]any) (string, error) {
	content, err := yaml.Marshal(object)
	if err != nil {
		return "", err
	}
	text := strings.NewReplacer("{{", `{{ "{{" }}`, "}}", `{{ "}}" }}`).Replace(string(content))
	return placeholder.ReplaceAllStringFunc(text, func(match string) string {
		index, _ := strconv.Atoi(placeholder.FindStringSubmatch(match)[1])
		return "{{ " + (*e)[index] + " }}"
	}), nil
}

func decode(r io.Reader) ([]*unstructured.Unstructured, error) {
	decoder := utilyaml.NewYAMLOrJSONDecoder(r, 4096)
	var objects []*unstructured.Unstructured
	for {
		object := &unstructured.Unstructured{}
		switch err := decoder.Decode(object); {
		case errors.Is(err, io.EOF):
			return objects, nil
		case err != nil:
			return nil, err
		case len(object.Object) > 0:
			objects = append(objects, object)
		}
	}
}

// addTemplates adds a file for each object.
func addTemplates(files map[string][]byte, objects []*unstructured.Unstructured) error {
	hashed := settingsName(objects)
	if hashed == "" {
		return errors.New("there is no ConfigMap " + settingsConfigMap)
	}
	for _, object := range objects {
		text, err := template(object, hashed)
		if err != nil {
			return fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
		name := "templates/" + strings.ToLower(object.GetKind()) + "-" + object.GetName()
		if object.GetKind() == "ConfigMap" {
			name = "templates/settings"
		}
		if _, taken := files[name+".yaml"]; taken {
			name += "-" + object.GetNamespace()
		}
		if _, taken := files[name+".yaml"]; taken {
			return fmt.Errorf("two objects want the file %s.yaml", name)
		}
		files[name+".yaml"] = []byte(text)
	}
	return nil
}

// settingsName is the name that kustomize gave to the ConfigMap with the settings.
func settingsName(objects []*unstructured.Unstructured) string {
	for _, object := range objects {
		if object.GetKind() == "ConfigMap" && strings.HasPrefix(object.GetName(), settingsConfigMap) {
			return object.GetName()
		}
	}
	return ""
}

func template(object *unstructured.Unstructured, hashed string) (string, error) {
	var e expressions
	condition := ""
	switch kind := object.GetKind(); {
	case object.GetName() == hashed && kind == "ConfigMap":
		if err := templateSettings(object, &e); err != nil {
			return "", err
		}
	case kind == "Deployment":
		if err := templateDeployment(object, &e); err != nil {
			return "", err
		}
	case kind == "CustomResourceDefinition":
		annotations := object.GetAnnotations()
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations["helm.sh/resource-policy"] = "keep"
		object.SetAnnotations(annotations)
	case kind == "Namespace" && object.GetName() == "latchkey-system":
		condition = `ne .Release.Namespace "latchkey-system"`
	case kind == "NetworkPolicy":
		condition = ".Values.networkPolicies.enabled"
	case object.GroupVersionKind().Group == "monitoring.coreos.com":
		condition = ".Values.prometheus.enabled"
	}
	text, err := e.render(object.Object)
	if err != nil {
		return "", err
	}
	text = strings.ReplaceAll(text, hashed, settingsConfigMap)
	if condition != "" {
		text = "{{- if " + condition + " }}\n" + text + "{{- end }}\n"
	}
	return text, nil
}

func templateSettings(object *unstructured.Unstructured, e *expressions) error {
	data, _, err := unstructured.NestedStringMap(object.Object, "data")
	if err != nil {
		return err
	}
	for key := range data {
		expression, known := settings[key]
		if !known {
			return fmt.Errorf("the setting %s has no value in the chart", key)
		}
		data[key] = e.add(expression)
	}
	for key := range settings {
		if _, exists := data[key]; !exists {
			return fmt.Errorf("the chart has a value for %s, which is no setting", key)
		}
	}
	return unstructured.SetNestedStringMap(object.Object, data, "data")
}

func templateDeployment(object *unstructured.Unstructured, e *expressions) error {
	name := strings.TrimPrefix(object.GetName(), "latchkey-")
	pod, _, err := unstructured.NestedMap(object.Object, "spec", "template", "spec")
	if err != nil {
		return err
	}
	containers, ok := pod["containers"].([]any)
	if !ok || len(containers) != 1 {
		return errors.New("it has not one container")
	}
	container, ok := containers[0].(map[string]any)
	if !ok {
		return errors.New("its container is no object")
	}
	container["image"] = e.add(fmt.Sprintf(`.Values.images.%s | default %q | quote`, container["name"], container["image"]))
	pod["imagePullSecrets"] = e.add(`toJson .Values.imagePullSecrets`)
	for _, set := range []struct {
		value any
		path  []string
	}{
		{pod, []string{"spec", "template", "spec"}},
		{e.add(".Values.replicas." + name), []string{"spec", "replicas"}},
		{e.add(settingsChecksum), []string{"spec", "template", "metadata", "annotations", "checksum/settings"}},
	} {
		if err := unstructured.SetNestedField(object.Object, set.value, set.path...); err != nil {
			return err
		}
	}
	return nil
}
